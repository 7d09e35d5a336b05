"""Text encoders of the bundled models, with random weights."""

from transformers import CLIPTextConfig, CLIPTokenizer, PreTrainedTokenizerBase, T5Config, T5EncoderModel


def clip_config(tokenizer: CLIPTokenizer, width: int) -> CLIPTextConfig:
    """Config of a CLIP text encoder of two layers.

    Args:
        tokenizer: tokenizer of its vocabulary.
        width: size of its embeddings.
    """
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=4 * width,
        projection_dim=width,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=tokenizer.model_max_length,
        hidden_act="quick_gelu",
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def t5_encoder(tokenizer: PreTrainedTokenizerBase, width: int) -> T5EncoderModel:
    """T5 encoder of two layers.

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
