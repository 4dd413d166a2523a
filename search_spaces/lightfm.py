"""Where `lightfm` is looked for."""

from search_spaces.space import Choice, Float, Int, Space

SPACE: Space = {
    # As irspack tunes it (BPRFMRecommender): logistic has no negative pairs to learn from, and ends near popularity.
    "loss": Choice(("warp", "bpr")),
    # irspack tunes 4 to 256, the default of LightFM is 10; 40 bounds the cost.
    "no_components": Int(8, 40, log=True),
    # The default of LightFM is 0.05; 0.15 is worse, and with high penalties it diverges (measured).
    "learning_rate": Float(5e-3, 0.1, log=True),
    # irspack tunes 1e-9 to 1e-2; 1e-7 is as good as 0 (measured).
    "item_alpha": Float(1e-7, 1e-2, log=True),
    "user_alpha": Float(1e-7, 1e-2, log=True),
    # irspack stops early, at 128 at most; 20 bounds the cost.
    "epochs": Int(3, 20, log=True),
}
