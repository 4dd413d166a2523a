"""Where `lmf` is looked for."""

from search_spaces.space import Float, Int, Space

SPACE: Space = {
    # The default of implicit is 30. It draws at most factors + 2 unseen pairs a user, so the cost of large factors is
    # quadratic, and 64 bounds it.
    "factors": Int(8, 64, log=True),
    # AdaGrad, so about 1, the default of implicit; at 0.3 and at 3 it is worse (measured).
    "learning_rate": Float(0.3, 3.0, log=True),
    # The default of implicit is 0.6; 3 is better on XMRec and Online Retail, 0.1 and 30 are worse (measured).
    "regularization": Float(0.1, 30.0, log=True),
    # The default of implicit is 30; 50 bounds the cost.
    "iterations": Int(10, 50, log=True),
}
