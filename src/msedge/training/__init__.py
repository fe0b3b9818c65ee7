"""How it learns: configuration, losses, and one readable loop on Lightning Fabric."""
