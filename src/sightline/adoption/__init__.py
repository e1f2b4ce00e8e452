"""Old Keras scripts and notebooks, read without running them: what is wrong, and a mended copy."""

from __future__ import annotations

from sightline.adoption.adopted import Adoption, adopt, copy_path, write_copy

__all__ = ["Adoption", "adopt", "copy_path", "write_copy"]
