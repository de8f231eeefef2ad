"""LLaVA 1.5: CLIP tower with CLS; every frame is a still of its own."""

from typing import ClassVar

import torch

from tools.errors import ProfileError
from tools.media.frames import Frames
from tools.vlm.host import Host, Inputs, Media, frame_pixels
from tools.vlm.signals import SignalKind
from tools.vlm.tokens import Grid, VisualTokens
from tools.vlm.towers import PatchTower, Tower


class Llava(Host):
    """`LlavaForConditionalGeneration`. It knows no video: frames go in as consecutive pictures."""

    model_class: ClassVar[str] = "LlavaForConditionalGeneration"
    model_type: ClassVar[str] = "llava"

    def make_tower(self) -> Tower:
        """CLIP or SigLIP, read where the config says."""
        config = self.model.config
        kind, strategy = config.vision_config.model_type, config.vision_feature_select_strategy
        # Read "full", a CLIP tower's CLS would stand among the patches without a place on the grid.
        if (kind, strategy) not in {("clip_vision_model", "default"), ("siglip_vision_model", "full")}:
            raise ProfileError(
                f"'{self.checkpoint}' has a {kind} tower read as '{strategy}'",
                remedy="use a LLaVA checkpoint with a CLIP tower read as 'default' or a SigLIP tower read as 'full'",
                field="model",
            )
        layers = config.vision_feature_layer
        return PatchTower(
            self.model.model.vision_tower,
            [layers] if isinstance(layers, int) else layers,
            drop_cls=strategy == "default",
        )

    @property
    def signal_kinds(self) -> frozenset[SignalKind]:
        """CLS attention with a CLIP tower, the pooling head's with a SigLIP tower that has one."""
        tower = self.tower
        assert isinstance(tower, PatchTower)
        kinds: set[SignalKind] = {"received", "keys"}
        if tower.has_cls:
            kinds.add("cls")
        if tower.has_head:
            kinds.add("head")
        return frozenset(kinds)

    def field(self, height: int, width: int) -> tuple[float, float, float, float] | None:
        """The square in the middle, where the processor cuts one out."""
        processor = self.processor.image_processor
        edge = (processor.size or {}).get("shortest_edge")
        if not processor.do_center_crop or edge is None:
            return None
        scale = edge / min(height, width)
        across = min(1.0, processor.crop_size["width"] / (width * scale))
        down = min(1.0, processor.crop_size["height"] / (height * scale))
        return (1 - across) / 2, (1 - down) / 2, (1 + across) / 2, (1 + down) / 2

    def prepare(self, frames: Frames, question: str, media: Media) -> Inputs:
        """As `Host.prepare`; a video is a row of stills."""
        question = self.clean(question)
        text = self.chat(question, "image", len(frames))
        raw = self.run_processor(text, images=list(frame_pixels(frames)))
        config = self.model.config.vision_config
        side = config.image_size // config.patch_size
        grids = tuple(Grid(side, side, time=float(time)) for time in frames.times)
        pattern = torch.arange(sum(grid.cells for grid in grids))
        width = self.model.config.text_config.hidden_size
        prompt = self.make_prompt(raw, text, question, pattern, torch.zeros(0, width), self.model.config.image_token_id)
        return Inputs(prompt, raw["pixel_values"], grids, grids, media, raw)

    def connect(self, patches: VisualTokens, inputs: Inputs) -> VisualTokens:
        """A projection of each token: tokens that the tower already merged or dropped stay so."""
        return patches.with_features(self.model.model.multi_modal_projector(patches.features))
