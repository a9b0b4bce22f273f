"""The unit in which CPU is counted: an application that does nothing."""
