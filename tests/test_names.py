"""The names that options accept are those of the parts that they choose."""

from threestudio_rsd.evaluation import instruments
from threestudio_rsd.names import EVALUATION_METRICS, FEATURE_NETWORKS, TRAININGS
from threestudio_rsd.repulsion import features
from threestudio_rsd.toyworld.training.stages import STAGES


def test_every_name_has_its_part():
    assert (*features.HUB_IDS, "lpips", "euclidean") == FEATURE_NETWORKS
    assert tuple(STAGES) == TRAININGS
    assert set(EVALUATION_METRICS) == {
        *instruments.WITHIN_GROUPS,
        *instruments.TO_REFERENCE,
        *instruments.TO_TRUTH,
        "clip_score",
        "aesthetic",
        "truth",
    }
