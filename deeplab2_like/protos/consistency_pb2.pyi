from deeplab2_like.protos import dataset_pb2 as _dataset_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ConsistencyOptions(_message.Message):
    __slots__ = ("confidence_threshold", "batch_size", "class_weight", "center_weight", "offset_weight", "ramp_up_steps", "min_scale", "max_scale", "mirror_probability", "color_jitter", "gray_probability", "blur", "cut_mix_probability", "feature_dropout_rate")
    CONFIDENCE_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    CLASS_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    CENTER_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    OFFSET_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    RAMP_UP_STEPS_FIELD_NUMBER: _ClassVar[int]
    MIN_SCALE_FIELD_NUMBER: _ClassVar[int]
    MAX_SCALE_FIELD_NUMBER: _ClassVar[int]
    MIRROR_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    COLOR_JITTER_FIELD_NUMBER: _ClassVar[int]
    GRAY_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    BLUR_FIELD_NUMBER: _ClassVar[int]
    CUT_MIX_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    FEATURE_DROPOUT_RATE_FIELD_NUMBER: _ClassVar[int]
    confidence_threshold: float
    batch_size: int
    class_weight: float
    center_weight: float
    offset_weight: float
    ramp_up_steps: int
    min_scale: float
    max_scale: float
    mirror_probability: float
    color_jitter: _dataset_pb2.DatasetOptions.ColorJitterOptions
    gray_probability: float
    blur: _dataset_pb2.DatasetOptions.BlurOptions
    cut_mix_probability: float
    feature_dropout_rate: float
    def __init__(self, confidence_threshold: _Optional[float] = ..., batch_size: _Optional[int] = ..., class_weight: _Optional[float] = ..., center_weight: _Optional[float] = ..., offset_weight: _Optional[float] = ..., ramp_up_steps: _Optional[int] = ..., min_scale: _Optional[float] = ..., max_scale: _Optional[float] = ..., mirror_probability: _Optional[float] = ..., color_jitter: _Optional[_Union[_dataset_pb2.DatasetOptions.ColorJitterOptions, _Mapping]] = ..., gray_probability: _Optional[float] = ..., blur: _Optional[_Union[_dataset_pb2.DatasetOptions.BlurOptions, _Mapping]] = ..., cut_mix_probability: _Optional[float] = ..., feature_dropout_rate: _Optional[float] = ...) -> None: ...
