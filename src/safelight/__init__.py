"""safelight: run text-to-image pipelines headlessly and keep a durable record of what ran."""

__version__ = "0.1.0"
