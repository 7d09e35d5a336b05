"""Models that threestudio's modules take by default."""

STABLE_DIFFUSION = (
    "stable-diffusion-v1-5/stable-diffusion-v1-5"  # runwayml/stable-diffusion-v1-5, which has moved there
)
DEEP_FLOYD = "DeepFloyd/IF-I-XL-v1.0"
