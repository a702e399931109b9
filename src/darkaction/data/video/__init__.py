"""Decoding and encoding: the only room that opens videos and pictures.

Frames are RGB uint8, frame_HWC alone and frames_NHWC together (N frames of the video, H W pixels, C colour).
"""

from darkaction.data.video.capture import VideoError
from darkaction.data.video.pictures import read_picture, write_picture
from darkaction.data.video.reading import (
    BT_601,
    CONTAINERS,
    Frames,
    Video,
    VideoInfo,
    iter_frames,
    probe,
    read_video,
    unusable,
)
from darkaction.data.video.writing import CODECS, write_video

__all__ = [
    "BT_601",
    "CODECS",
    "CONTAINERS",
    "Frames",
    "Video",
    "VideoError",
    "VideoInfo",
    "iter_frames",
    "probe",
    "read_picture",
    "read_video",
    "unusable",
    "write_picture",
    "write_video",
]
