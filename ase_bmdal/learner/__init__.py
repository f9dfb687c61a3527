"""One round of learning after another: select, label, store, train; in a folder that survives anything."""
