"""How well a run goes: progress, the printed table, the page of curves, rates to choose."""
