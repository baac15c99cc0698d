"""Music in four voices: read from MusicXML, written as tokens, and drawn, sung or printed again."""
