"""An application that does nothing: the unit of CPU time."""
