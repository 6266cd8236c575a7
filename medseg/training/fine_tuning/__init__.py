"""Fine-tuning: where a training begins, and what of a model's weights fits another network."""
