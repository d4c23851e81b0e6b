"""The connectors that come with syncd: one package a CRM, found by the entry points `syncd.connectors`."""
