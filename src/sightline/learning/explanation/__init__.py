"""Where a trained network looks: maps of what speaks for a class, and whether to trust them.

calls      what is called inside a network, heard and changed for the length of a call
gradients  the gradient on three backends
probe      a network to be asked: scores, features, gradients
maps       Grad-CAM, Grad-CAM++, occlusion, integrated gradients
features   feature maps and first filters
sanity     do maps change when the weights are random?
attention  a whole split: the average map, the share on the border
"""

from __future__ import annotations

from sightline.learning.explanation.attention import attention_of, border_finding
from sightline.learning.explanation.features import feature_maps, first_filters
from sightline.learning.explanation.maps import METHODS, NEED_A_LAYER, Maps
from sightline.learning.explanation.probe import Place, Probe
from sightline.learning.explanation.sanity import (
    check_sanity,
    rank_correlation,
    sanity_finding,
)

__all__ = [
    "METHODS",
    "NEED_A_LAYER",
    "Maps",
    "Place",
    "Probe",
    "attention_of",
    "border_finding",
    "check_sanity",
    "feature_maps",
    "first_filters",
    "rank_correlation",
    "sanity_finding",
]
