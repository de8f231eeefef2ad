"""LLaVA-OneVision: SigLIP tower without CLS, pooled video grid with one newline at its end, crops of stills."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from tools.errors import BadInput, ProfileError
from tools.media.frames import Frames
from tools.vlm.host import FIXED, Host, Inputs, Media, frame_pixels
from tools.vlm.signals import SignalKind
from tools.vlm.tokens import Grid, VisualTokens
from tools.vlm.towers import PatchTower, Tower


class LlavaOnevision(Host):
    """`LlavaOnevisionForConditionalGeneration`.

    A video is pooled to a quarter of its patches a frame. A still is the whole picture (``base``) and, cut into crops
    and put together again, the picture at higher resolution (``mosaic``) with a newline after every row. Newlines are
    the host's own vectors: no method sees or drops them.
    """

    model_class: ClassVar[str] = "LlavaOnevisionForConditionalGeneration"
    model_type: ClassVar[str] = "llava_onevision"

    def make_tower(self) -> Tower:
        """SigLIP, read where the config says."""
        config = self.model.config
        if config.vision_config.model_type != "siglip_vision_model" or config.vision_feature_select_strategy != "full":
            raise ProfileError(
                f"'{self.checkpoint}' has a {config.vision_config.model_type} tower read as "
                f"'{config.vision_feature_select_strategy}'",
                remedy="use a LLaVA-OneVision checkpoint with a SigLIP tower",
                field="model",
            )
        layers = config.vision_feature_layer
        return PatchTower(
            self.model.model.vision_tower, [layers] if isinstance(layers, int) else layers, drop_cls=False
        )

    @property
    def signal_kinds(self) -> frozenset[SignalKind]:
        """No CLS; the pooling head is there if the checkpoint kept it."""
        tower = self.tower
        assert isinstance(tower, PatchTower)
        return frozenset({"received", "keys"} | ({"head"} if tower.has_head else set()))  # type: ignore[arg-type]

    @property
    def side(self) -> int:
        """Patches along a picture's side."""
        config = self.model.config.vision_config
        return int(config.image_size // config.patch_size)

    def prepare(self, frames: Frames, question: str, media: Media) -> Inputs:
        """As `Host.prepare`; a still must be alone."""
        question = self.clean(question)
        newline = self.model.model.image_newline[None]
        text = self.chat(question, media, 1)
        if media == "video":
            raw = self.run_processor(text, videos=[frame_pixels(frames)], do_sample_frames=False)
            pooled = -(-self.side // 2)
            grids = tuple(Grid(pooled, pooled, time=float(time)) for time in frames.times)
            patch_grids = tuple(Grid(self.side, self.side, time=float(time)) for time in frames.times)
            pattern = torch.cat([torch.arange(sum(grid.cells for grid in grids)), torch.tensor([FIXED])])
            pixels, token = raw["pixel_values_videos"][0], self.model.config.video_token_id
        else:
            if len(frames) != 1:
                raise BadInput("one still at a time", remedy="send several pictures as a video", field="media")
            raw = self.run_processor(text, images=[frame_pixels(frames)[0]])
            grids, pattern = self._still(raw, float(frames.times[0]))
            pixels = raw["pixel_values"][0]
            patch_grids = tuple(Grid(self.side, self.side, grids[0].time, "base") for _ in pixels)
            token = self.model.config.image_token_id
        fixed = newline.expand(int((pattern == FIXED).sum()), -1)
        prompt = self.make_prompt(raw, text, question, pattern, fixed, token)
        return Inputs(prompt, pixels, patch_grids, grids, media, raw)

    def connect(self, patches: VisualTokens, inputs: Inputs) -> VisualTokens:
        """Projects, then pools frames or puts the crops together; signals go through the same reduction."""
        features = self.model.model.multi_modal_projector(patches.expand())
        reduce = self._pool if inputs.media == "video" else self._pack
        signals = {signal: reduce(value[patches.owner], inputs) for signal, value in patches.signals.items()}
        return VisualTokens.full(reduce(features, inputs), inputs.grids, signals)

    def _pool(self, value: Tensor, inputs: Inputs) -> Tensor:
        """Bilinear 2x pooling of every frame, ``[F * side * side, ...]`` to ``[P, ...]``."""
        rows = value.view(len(inputs.grids), self.side**2, -1)
        return self.model.model.apply_pooling(rows).flatten(0, 1).view(-1, *value.shape[1:])  # type: ignore[no-any-return]

    def _pack(self, value: Tensor, inputs: Inputs) -> Tensor:
        """The base picture, then the crops as one picture without its padding."""
        crops = value.view(len(inputs.patch_grids), self.side**2, -1)
        if len(crops) == 1:
            return value
        packed, _ = self.model.model.pack_image_features(
            [crops], inputs.raw["image_sizes"], None, self.model.config.vision_aspect_ratio
        )
        return packed[0].reshape(-1, *value.shape[1:])  # type: ignore[no-any-return]

    def _still(self, raw: dict[str, Tensor], time: float) -> tuple[tuple[Grid, ...], Tensor]:
        """Grids of a still and the pattern of its placeholders."""
        base = Grid(self.side, self.side, time, "base")
        cells = torch.arange(base.cells)
        if raw["pixel_values"].shape[1] == 1:
            return (base,), torch.cat([cells, torch.tensor([FIXED])])
        height, width = (int(side) for side in raw["image_sizes"][0])
        size = self.model.config.vision_config.image_size
        best = self._best_resolution(height, width)
        tiles = (best[0] // size, best[1] // size)
        unpadded, rows = self.processor._get_unpadded_features(height, width, self.side, self.side, *tiles)
        mosaic = Grid(rows, unpadded // rows, time, "mosaic", tiles)
        block = torch.arange(mosaic.cells).view(mosaic.height, mosaic.width) + base.cells
        block = nn.functional.pad(block, (0, 1), value=FIXED)
        return (base, mosaic), torch.cat([cells, block.flatten()])

    def _best_resolution(self, height: int, width: int) -> tuple[int, int]:
        from transformers.image_processing_utils import select_best_resolution

        best = select_best_resolution([height, width], self.model.config.image_grid_pinpoints)
        return int(best[0]), int(best[1])
