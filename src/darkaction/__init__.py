"""Low-light action recognition: Zero-DCE enhancement, delta sampling, R(2+1)D + BERT."""
