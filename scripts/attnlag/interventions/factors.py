"""The factors of the interventions that multiply an adjustment."""

# The smallest is run beside the others, which are compared with it.
SMALL = "small"
FACTORS = {"halve": 0.5, "double": 2.0, SMALL: 1.02}
