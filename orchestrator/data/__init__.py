"""From raw files, or a seed, to cleaned and integer-coded interactions of every country."""

from orchestrator.data.marketplace import generate_marketplace
from orchestrator.data.model import REASONS, CountryFacts, Data
from orchestrator.data.read import read_data

__all__ = ["REASONS", "CountryFacts", "Data", "generate_marketplace", "read_data"]
