"""Who perceives: media, speech, on-screen text, detection, embeddings, the clip store and vision-language models."""
