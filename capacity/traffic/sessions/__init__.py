"""Sessions: conversations and agents, whose turns repeat what came before."""
