"""Talking with a chat model: prompts, the menu it chooses from, the forms of its replies, and the call itself."""
