"""The durable writes of the inventory, as its crash points name them."""

from __future__ import annotations

from enum import StrEnum


class InventoryWrite(StrEnum):
    """Every durable write of the inventory."""

    STOCK = "stock"
    STOCK_DELAYED = "stock.delayed"
