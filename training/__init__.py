"""How the bundled text-to-image model was made; see training/README.md."""
