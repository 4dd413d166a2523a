"""Where `bpr` is looked for."""

from search_spaces.space import Float, Int, Space

SPACE: Space = {
    # lenskit tunes 8 to 1,024 (flexmf-bpr-search.toml), irspack 4 to 256 (BPRFMRecommender); 128 bounds the cost.
    "factors": Int(8, 128, log=True),
    # lenskit tunes 1e-3 to 0.1, the default of implicit is 0.01.
    "learning_rate": Float(1e-3, 0.1, log=True),
    # lenskit tunes 1e-4 to 10, the default of implicit is 0.01; from 0.1 on it does harm (measured).
    "regularization": Float(1e-4, 0.1, log=True),
    # lenskit stops at 50, the default of implicit is 100; 60 bounds the cost.
    "iterations": Int(10, 60, log=True),
}
