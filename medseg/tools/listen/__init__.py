"""``medseg listen``: series that arrive over the network, segmented by rule and sent on."""

from medseg.tools.listen.service import listen

__all__ = ["listen"]
