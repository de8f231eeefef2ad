"""Qwen2.5-VL: window attention with a 2x2 merger, and rotary positions in time, height and width (M-RoPE)."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from tools.errors import BadInput
from tools.media.frames import Frames
from tools.vlm.host import Host, Inputs, Media, frame_pixels
from tools.vlm.signals import SignalKind
from tools.vlm.tokens import Grid, VisualTokens
from tools.vlm.towers import MergedTower, Packed, Tower


class Qwen25VL(Host):
    """`Qwen2_5_VLForConditionalGeneration`.

    Two frames become one slice of time; a slice's cells are merger groups of 2x2 patches. Positions are computed for
    the request and handed on explicitly: the offset that the model object remembers belongs to whoever came last.
    """

    model_class: ClassVar[str] = "Qwen2_5_VLForConditionalGeneration"
    model_type: ClassVar[str] = "qwen2_5_vl"
    position_rows: ClassVar[int] = 3

    def make_tower(self) -> Tower:
        """The packed tower with its window order."""
        visual = self.model.model.visual
        return MergedTower(visual, self._pack, full_layers=visual.fullatt_block_indexes)

    @property
    def signal_kinds(self) -> frozenset[SignalKind]:
        """Neither CLS nor pooling head."""
        return frozenset({"received", "keys"})

    def prepare(self, frames: Frames, question: str, media: Media) -> Inputs:
        """As `Host.prepare`; a still must be alone."""
        question = self.clean(question)
        text = self.chat(question, media, 1)
        if media == "video":
            raw = self.run_processor(
                text,
                videos=[frame_pixels(frames)],
                video_metadata=[self.video_metadata(frames)],
                do_sample_frames=False,
            )
            pixels, sizes, token = raw["pixel_values_videos"], raw["video_grid_thw"], self.model.config.video_token_id
        else:
            if len(frames) != 1:
                raise BadInput("one still at a time", remedy="send several pictures as a video", field="media")
            raw = self.run_processor(text, images=[frame_pixels(frames)[0]])
            pixels, sizes, token = raw["pixel_values"], raw["image_grid_thw"], self.model.config.image_token_id
        grids = self._grids(frames, sizes[0].tolist())
        pattern = torch.arange(sum(grid.cells for grid in grids))
        width = self.model.config.text_config.hidden_size
        prompt = self.make_prompt(raw, text, question, pattern, torch.zeros(0, width), token)
        return Inputs(prompt, pixels, grids, grids, media, raw)

    def connect(self, patches: VisualTokens, inputs: Inputs) -> VisualTokens:
        """The merger fuses each group; groups that are gone stay gone."""
        merger = self.model.model.visual.merger
        return patches.with_features(merger(patches.features.view(-1, self.model.config.vision_config.hidden_size)))

    def prompt_positions(self, raw: Mapping[str, Tensor]) -> tuple[Tensor, int]:
        """Three rows of the whole prompt, by the model's own rule."""
        positions, _ = self.model.model.get_rope_index(
            raw["input_ids"],
            raw["mm_token_type_ids"],
            image_grid_thw=raw.get("image_grid_thw"),
            video_grid_thw=raw.get("video_grid_thw"),
            second_per_grid_ts=raw.get("second_per_grid_ts"),
            attention_mask=raw.get("attention_mask"),
        )
        # Generation goes on from the last text token, which may lie before the last frame's position in time.
        return positions[:, 0], int(positions[:, 0, -1].max()) + 1

    def video_metadata(self, frames: Frames) -> Any:
        """Tells the processor the rate at which frames were taken, from their own times."""
        from transformers.video_utils import VideoMetadata

        count = len(frames)
        length = float(frames.times[-1] - frames.times[0])
        rate = (count - 1) / length if length > 0 else 1.0
        return VideoMetadata(total_num_frames=count, fps=rate, frames_indices=list(range(count)))

    def _grids(self, frames: Frames, size: list[int]) -> tuple[Grid, ...]:
        slices, height, width = size
        merge = self.model.config.vision_config.spatial_merge_size
        step = -(-len(frames) // slices)
        times = [float(frames.times[at * step : (at + 1) * step].mean()) for at in range(slices)]
        return tuple(Grid(height // merge, width // merge, time=time) for time in times)

    def _pack(self, pixels: Tensor, sizes: Tensor) -> Packed:
        from transformers.vision_utils import get_vision_cu_seqlens, get_vision_position_ids, get_vision_window_index

        visual = self.model.model.visual
        positions = get_vision_position_ids(sizes, visual.spatial_merge_size)
        order, windows = get_vision_window_index(
            sizes,
            spatial_merge_size=visual.spatial_merge_size,
            window_size=visual.window_size,
            patch_size=visual.patch_size,
        )
        hidden = visual.patch_embed(pixels.to(visual.dtype))
        length = len(hidden)
        rotary = visual.rotary_pos_emb(hidden, positions)
        cos, sin = (visual.permute_input_for_window_attn(part, order, seq_len=length) for part in rotary)
        return Packed(
            hidden=visual.permute_input_for_window_attn(hidden, order, seq_len=length),
            segments=get_vision_cu_seqlens(sizes),
            windows=windows,
            rotary=(cos, sin),
            order=order,
        )
