"""Where `als` is looked for."""

from search_spaces.space import Float, Int, Space

SPACE: Space = {
    # irspack tunes 4 to 300 (IALSRecommender), lenskit 8 to 1,024 (als-implicit-search.toml), Rendle et al. 2021
    # (arXiv 2110.14037) gain from more on larger data; 128 bounds the cost.
    "factors": Int(8, 128, log=True),
    # irspack tunes 1e-4 to 0.1, and Rendle et al. take 0.003 for ML-20M, but of a penalty that grows with frequency and
    # against unseen pairs of weight alpha0, where here these weigh 1: so the range lies higher. lenskit tunes 1e-5 to 1.
    # XMRec asks for 10 to 30, Online Retail for 5 to 20; at 100 the vectors of a small country vanish (measured).
    "regularization": Float(0.01, 50.0, log=True),
    # irspack tunes alpha0, the weight of an unseen pair against one seen, from 0.003 to 1; alpha is about its inverse.
    # lenskit tunes 5 to 100; Hu et al. 2008 use 40. Both data sets ask for the low end (measured).
    "alpha": Float(1.0, 40.0, log=True),
    # Rendle et al. and irspack run 16; after 1 or 2 the ranking of configurations is not that of the end (measured).
    "iterations": Int(3, 15),
}
