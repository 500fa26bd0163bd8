"""A node, described once, as a class of either kind."""
from collections import namedtuple

Node = namedtuple("Node", "id name description inputs outputs run output_node deprecated", defaults=[False])
# options: those of a COMBO may be a function, which is called whenever they are asked for
Input = namedtuple("Input", "name type options optional")
Result = namedtuple("Result", "values ui")

CATEGORY = "latentsync"
TRACK = "LATENTSYNC_TRACK"


def _options(item):
    options = dict(item.options)
    if callable(options.get("options")):
        options["options"] = options["options"]()
    return options


def _run(node, given):
    """Inputs that a graph leaves out have their defaults."""
    return node.run(**{**{i.name: i.options.get("default") for i in node.inputs}, **given})


def _changed(node, given):
    return node.run.changed(**{i.name: given.get(i.name) for i in node.inputs}) if hasattr(node.run, "changed") else ""


def classic(node):
    def input_types(cls):
        found = {"required": {}, "optional": {}}
        for i in node.inputs:
            options = _options(i)
            kind = options.pop("options") if i.type == "COMBO" else i.type
            found["optional" if i.optional else "required"][i.name] = (kind, options)
        return found

    def run(self, **given):
        values, ui = _run(node, given)
        return {"ui": ui, "result": values} if ui else values

    return type(node.id, (), {
        "INPUT_TYPES": classmethod(input_types), "IS_CHANGED": classmethod(lambda cls, **given: _changed(node, given)),
        "RETURN_TYPES": tuple(kind for _, kind in node.outputs), "RETURN_NAMES": tuple(name for name, _ in node.outputs),
        "FUNCTION": "run", "run": run, "CATEGORY": CATEGORY, "DESCRIPTION": node.description, "OUTPUT_NODE": node.output_node,
        "DEPRECATED": node.deprecated})


def v3(node, io):
    kinds = {"AUDIO": io.Audio, "COMBO": io.Combo, "FLOAT": io.Float, "IMAGE": io.Image, "INT": io.Int, "STRING": io.String,
             "VIDEO": io.Video, TRACK: io.Custom(TRACK)}

    def define_schema(cls):
        return io.Schema(
            node_id=node.id, display_name=node.name, category=CATEGORY, description=node.description,
            inputs=[kinds[i.type].Input(i.name, optional=i.optional, **_options(i)) for i in node.inputs],
            outputs=[kinds[kind].Output(display_name=name) for name, kind in node.outputs], is_output_node=node.output_node,
            is_deprecated=node.deprecated)

    def execute(cls, **given):
        values, ui = _run(node, given)
        return io.NodeOutput(*values, ui=ui)

    return type(node.id, (io.ComfyNode,), {
        "define_schema": classmethod(define_schema), "execute": classmethod(execute),
        "fingerprint_inputs": classmethod(lambda cls, **given: _changed(node, given))})
