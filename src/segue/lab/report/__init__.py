"""Tables, pictures and pages from results and traces."""
