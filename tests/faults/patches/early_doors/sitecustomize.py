"""No bug: the doors of the demo's sale open at once, so that nobody waits for the rush."""

from rushlight.demo import sale

sale.OPENING_SECONDS = 0.0
