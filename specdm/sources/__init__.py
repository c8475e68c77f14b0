"""Raw data -> patch sets; one module a data set."""
