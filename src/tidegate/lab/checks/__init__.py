"""Whether the lab is like the world: stylised facts, cascade sizes, forecasts on trial."""
