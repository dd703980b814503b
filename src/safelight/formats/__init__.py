"""formats: what stands in pictures, read and written in one place for engines, records, imports."""
