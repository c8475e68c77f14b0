"""The networks and their losses, in torch only: no paths, no config objects, no logging, no choice of device."""
