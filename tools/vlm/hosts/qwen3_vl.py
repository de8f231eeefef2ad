"""Qwen3-VL: DeepStack features in the first decoder layers, and the time of each frame written between the frames."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from tools.errors import BadInput
from tools.media.frames import Frames
from tools.vlm.host import Host, Inputs, Media, frame_pixels
from tools.vlm.signals import SignalKind
from tools.vlm.tokens import Grid, VisualTokens
from tools.vlm.towers import MergedTower, Packed, Tower


class Qwen3VL(Host):
    """`Qwen3VLForConditionalGeneration`.

    Visual tokens lie in one run a slice of time, with a timestamp before each. What DeepStack adds after the first
    layers travels with the tokens as their ``extras``, so whoever drops or merges tokens does the same to it.
    """

    model_class: ClassVar[str] = "Qwen3VLForConditionalGeneration"
    model_type: ClassVar[str] = "qwen3_vl"
    position_rows: ClassVar[int] = 3

    def make_tower(self) -> Tower:
        """The packed tower; all its layers see whole pictures."""
        visual = self.model.model.visual
        return MergedTower(
            visual, self._pack, full_layers=range(len(visual.blocks)), taps=visual.deepstack_visual_indexes
        )

    @property
    def signal_kinds(self) -> frozenset[SignalKind]:
        """Neither CLS nor pooling head."""
        return frozenset({"received", "keys"})

    def prepare(self, frames: Frames, question: str, media: Media) -> Inputs:
        """As `Host.prepare`; a still must be alone, and a video of one frame shows it twice, as the processor wants."""
        question = self.clean(question)
        text = self.chat(question, media, 1)
        if media == "video":
            if len(frames) == 1:
                frames = Frames(frames.times.repeat(2), np.repeat(frames.images, 2, axis=0), frames.decoded)
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
        """The mergers fuse each group, that of the last layer and those of DeepStack."""
        visual = self.model.model.visual
        width = self.model.config.vision_config.hidden_size
        extras = tuple(
            merger(extra.view(-1, width))
            for merger, extra in zip(visual.deepstack_merger_list, patches.extras, strict=True)
        )
        return replace(patches, features=visual.merger(patches.features.view(-1, width)), extras=extras)

    def prompt_positions(self, raw: Mapping[str, Tensor]) -> tuple[Tensor, int]:
        """Three rows of the whole prompt, by the model's own rule."""
        positions, _ = self.model.model.get_rope_index(
            raw["input_ids"],
            raw["mm_token_type_ids"],
            image_grid_thw=raw.get("image_grid_thw"),
            video_grid_thw=raw.get("video_grid_thw"),
            attention_mask=raw.get("attention_mask"),
        )
        # Generation goes on from the last text token, which may lie before the last frame's position in time.
        return positions[:, 0], int(positions[:, 0, -1].max()) + 1

    def video_metadata(self, frames: Frames) -> Any:
        """Gives the processor each frame's own time, to the millisecond."""
        from transformers.video_utils import VideoMetadata

        stamps = [round(float(time) * 1000) for time in frames.times]
        return VideoMetadata(total_num_frames=stamps[-1] + 1, fps=1000.0, frames_indices=stamps)

    def _grids(self, frames: Frames, size: list[int]) -> tuple[Grid, ...]:
        slices, height, width = size
        merge = self.model.config.vision_config.spatial_merge_size
        step = -(-len(frames) // slices)
        times = [float(frames.times[at * step : (at + 1) * step].mean()) for at in range(slices)]
        return tuple(Grid(height // merge, width // merge, time=time) for time in times)

    def _pack(self, pixels: Tensor, sizes: Tensor) -> Packed:
        from transformers.vision_utils import (
            get_vision_cu_seqlens,
            get_vision_interpolation_indices_and_weights,
            get_vision_position_ids,
        )

        visual = self.model.model.visual
        taps, weights = get_vision_interpolation_indices_and_weights(
            sizes,
            num_grid_per_side=visual.num_grid_per_side,
            mode=visual.interpolation_mode,
            align_corners=visual.interpolation_align_corners,
            spatial_merge_size=visual.spatial_merge_size,
        )
        hidden = visual.patch_embed(pixels.to(visual.dtype))
        hidden = hidden + (visual.pos_embed(taps) * weights[:, :, None]).sum(1).to(hidden.dtype)
        segments = get_vision_cu_seqlens(sizes)
        groups = len(hidden) // visual.spatial_merge_unit
        return Packed(
            hidden=hidden,
            segments=segments,
            windows=segments,
            rotary=visual.rotary_pos_emb(hidden, get_vision_position_ids(sizes, visual.spatial_merge_size)),
            order=torch.arange(groups, device=hidden.device),
        )
