"""One HTML page of any run, sweep or reproduction."""
