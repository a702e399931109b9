"""Downloads of any form to data/raw/<dataset>."""
