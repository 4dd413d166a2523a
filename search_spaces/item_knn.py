"""Where `item_knn` is looked for: a fit of 350,000 rows, 4,000 users and 4,000 items takes 0.7 s at worst on one core."""

from search_spaces.space import Choice, Float, Int, Space

SPACE: Space = {
    # The three of implicit.nearest_neighbours; irspack and Ferrari Dacrema et al. 2019 tune over the same three.
    "weighting": Choice(("cosine", "tfidf", "bm25")),
    # Ferrari Dacrema et al. 2019 tune 5 to 800, irspack 4 to 1,000.
    "neighbours": Int(5, 800, log=True),
    # Ferrari Dacrema et al. 2019 and irspack tune 0 to 1,000. Drawn over the magnitudes, because sparse countries need
    # 20 and more where dense ones need none; 0.1 does as good as nothing.
    "shrinkage": Float(0.1, 1000.0, log=True),
    # implicit's BM25Recommender defaults to 1.2, its bm25_weight to 100.
    "bm25_k1": Float(0.5, 100.0, log=True),
    # The whole range of the definition; implicit defaults to 0.75 and 0.8.
    "bm25_b": Float(0.0, 1.0),
}
