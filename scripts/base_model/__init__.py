"""Parts of scripts/make_base_model: corpus, tokenizer, training, scores and card of the base model."""
