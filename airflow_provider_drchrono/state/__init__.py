"""Everything that is kept between tasks: tokens, cursors, deliveries, sent markers, and the lease that guards them."""
