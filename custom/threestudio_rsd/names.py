"""Names that command-line options accept.

They are in a file of their own because the command line shows and checks them: importing it loads no library, so that
`rsd COMMAND --help` and the answer to a mistyped option take no longer than Python's own start.
"""

FEATURE_NETWORKS = ("dino", "dinov2", "clip", "lpips", "euclidean")  # of `repulsion.load_features`
EVALUATION_METRICS = (  # groups of metrics of `evaluation.Instruments`
    "similarity",
    "diversity",
    "vendi",
    "clip_score",
    "aesthetic",
    "frechet",
    "kid",
    "recall",
    "coverage",
    "psnr",
    "ssim",
    "lpips",
    "truth",
)
AESTHETIC_HEAD = "trl-lib/ddpo-aesthetic-predictor/aesthetic-model.pth"  # copy of the weights on the Hugging Face hub
CLASSES = ("mushroom", "snowman", "house", "ice cream", "tree", "rocket", "cup", "car")  # of the bundled world
COLORS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")  # of the bundled world
TRAININGS = ("autoencoder", "judge", "clip", "dino", "pixel", "text-to-image", "flow")  # of the bundled networks
