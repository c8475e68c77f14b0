"""Names of the downstream networks and the task each one solves; free of torch, so that a dry run stays fast.

`specdm.nn.downstream` builds them; a test keeps both lists equal.
"""

from __future__ import annotations

SEGMENTATION, CHANGE = "segmentation", "change"

NETWORKS: dict[str, str] = {f"segformer-b{size}": SEGMENTATION for size in range(6)} | {"changeformer-v3": CHANGE}
