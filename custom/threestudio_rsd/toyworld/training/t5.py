"""Untrained T5 encoder of the bundled models."""

from transformers import PreTrainedTokenizerBase, T5Config, T5EncoderModel


def t5_encoder(tokenizer: PreTrainedTokenizerBase, width: int) -> T5EncoderModel:
    """T5 encoder of two layers with random weights.

    Args:
        tokenizer: tokenizer of its vocabulary.
        width: size of its embeddings.
    """
    return T5EncoderModel(
        T5Config(
            vocab_size=len(tokenizer),
            d_model=width,
            d_kv=width // 4,
            d_ff=4 * width,
            num_layers=2,
            num_heads=4,
            dropout_rate=0.0,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
