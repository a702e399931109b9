"""What turns features into a decision: BERT over time, and MRAN between domains."""
