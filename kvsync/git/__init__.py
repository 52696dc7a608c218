"""Git source: fetches a repository, verifies its newest commit, and checks it out atomically."""
