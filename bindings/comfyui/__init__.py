"""Nodes of latentsync for ComfyUI: by its V3 schema where it has one, else by classic mappings."""
from . import files, schema
from .nodes import NODES

files.register_models()
try:
    from comfy_api.latest import ComfyExtension, io
except ImportError:
    # A module with these mappings is not asked for comfy_entrypoint.
    NODE_CLASS_MAPPINGS = {node.id: schema.classic(node) for node in NODES}
    NODE_DISPLAY_NAME_MAPPINGS = {node.id: node.name for node in NODES}
else:
    class LatentSyncExtension(ComfyExtension):
        async def get_node_list(self):
            return [schema.v3(node, io) for node in NODES]

    async def comfy_entrypoint():
        return LatentSyncExtension()
