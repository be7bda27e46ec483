"""What the demo shop sells. The sale's three headline products are what most shoppers came for."""

from __future__ import annotations

import random
from typing import NamedTuple


class Product(NamedTuple):
    """A product of the demo shop; ``price`` is a decimal string in USD, ``pull`` how much shoppers want it."""

    id: str
    name: str
    category: str
    price: str
    pull: int


PRODUCTS = (
    Product("lamp-aurora", "Aurora desk lamp", "Lighting", "39.00", 30),
    Product("speaker-pebble", "Pebble speaker", "Audio", "59.90", 26),
    Product("jacket-drift", "Drift rain jacket", "Outdoor", "89.00", 22),
    Product("mug-ember", "Ember mug, set of two", "Kitchen", "24.50", 14),
    Product("backpack-ridge", "Ridge backpack 24 l", "Outdoor", "74.00", 13),
    Product("headphones-hush", "Hush headphones", "Audio", "129.00", 12),
    Product("kettle-north", "North kettle", "Kitchen", "64.00", 10),
    Product("throw-heather", "Heather wool throw", "Home", "79.95", 9),
    Product("lantern-field", "Field lantern", "Lighting", "34.90", 9),
    Product("bottle-slate", "Slate bottle 0.7 l", "Outdoor", "27.00", 9),
    Product("candle-cedar", "Cedar candle", "Home", "18.00", 8),
    Product("grinder-hand", "Hand coffee grinder", "Kitchen", "54.00", 7),
    Product("pillow-linen", "Linen pillow", "Home", "32.00", 7),
    Product("turntable-oak", "Oak turntable", "Audio", "249.00", 5),
    Product("tent-lee", "Lee tent for two", "Outdoor", "219.00", 5),
    Product("pan-carbon", "Carbon steel pan", "Kitchen", "49.00", 6),
    Product("strip-glow", "Glow light strip", "Lighting", "22.90", 6),
    Product("radio-dial", "Dial kitchen radio", "Audio", "84.50", 5),
    Product("rug-tide", "Tide rug 120 x 180", "Home", "139.00", 4),
    Product("stove-pocket", "Pocket stove", "Outdoor", "44.00", 4),
)
COUNTRIES = ("US", "US", "US", "CA", "GB", "DE", "FR", "AU", "NL", "SE")


def choose(dice: random.Random) -> Product:
    """One product, by its pull."""
    return dice.choices(PRODUCTS, weights=[product.pull for product in PRODUCTS])[0]
