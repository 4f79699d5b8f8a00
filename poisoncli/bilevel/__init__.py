"""The engine of rmd and stealthy: hypergradients, ascent, batches in stages."""
