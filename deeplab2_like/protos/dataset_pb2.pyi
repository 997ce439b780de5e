from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PaddingMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CONSTANT: _ClassVar[PaddingMode]
    REFLECT: _ClassVar[PaddingMode]

class OnDamage(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FAIL: _ClassVar[OnDamage]
    SKIP: _ClassVar[OnDamage]
CONSTANT: PaddingMode
REFLECT: PaddingMode
FAIL: OnDamage
SKIP: OnDamage

class DatasetOptions(_message.Message):
    __slots__ = ("dataset", "file_pattern", "batch_size", "crop_size", "min_resize_value", "max_resize_value", "resize_factor", "augmentations", "sigma", "increase_small_instance_weights", "small_instance_threshold", "small_instance_weight", "use_two_frames", "decode_groundtruth_label", "thing_id_mask_annotations", "max_thing_id", "use_next_frame", "cameras_to_use", "input_scale_factor", "pad_to_multiple_of", "padding_mode", "shuffle_buffer_size", "on_damage", "mixed_file_pattern", "mixed_share", "canvas_remainder", "padding_color", "data_service_address")
    class AugmentationOptions(_message.Message):
        __slots__ = ("min_scale_factor", "max_scale_factor", "scale_factor_step_size", "autoaugment_policy_name", "panoptic_copy_paste", "color_jitter", "copy_paste", "rotation", "blur", "gray_probability", "scale_area_bias")
        MIN_SCALE_FACTOR_FIELD_NUMBER: _ClassVar[int]
        MAX_SCALE_FACTOR_FIELD_NUMBER: _ClassVar[int]
        SCALE_FACTOR_STEP_SIZE_FIELD_NUMBER: _ClassVar[int]
        AUTOAUGMENT_POLICY_NAME_FIELD_NUMBER: _ClassVar[int]
        PANOPTIC_COPY_PASTE_FIELD_NUMBER: _ClassVar[int]
        COLOR_JITTER_FIELD_NUMBER: _ClassVar[int]
        COPY_PASTE_FIELD_NUMBER: _ClassVar[int]
        ROTATION_FIELD_NUMBER: _ClassVar[int]
        BLUR_FIELD_NUMBER: _ClassVar[int]
        GRAY_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
        SCALE_AREA_BIAS_FIELD_NUMBER: _ClassVar[int]
        min_scale_factor: float
        max_scale_factor: float
        scale_factor_step_size: float
        autoaugment_policy_name: str
        panoptic_copy_paste: DatasetOptions.PanopticCopyPasteOptions
        color_jitter: DatasetOptions.ColorJitterOptions
        copy_paste: DatasetOptions.CopyPasteOptions
        rotation: DatasetOptions.RotationOptions
        blur: DatasetOptions.BlurOptions
        gray_probability: float
        scale_area_bias: float
        def __init__(self, min_scale_factor: _Optional[float] = ..., max_scale_factor: _Optional[float] = ..., scale_factor_step_size: _Optional[float] = ..., autoaugment_policy_name: _Optional[str] = ..., panoptic_copy_paste: _Optional[_Union[DatasetOptions.PanopticCopyPasteOptions, _Mapping]] = ..., color_jitter: _Optional[_Union[DatasetOptions.ColorJitterOptions, _Mapping]] = ..., copy_paste: _Optional[_Union[DatasetOptions.CopyPasteOptions, _Mapping]] = ..., rotation: _Optional[_Union[DatasetOptions.RotationOptions, _Mapping]] = ..., blur: _Optional[_Union[DatasetOptions.BlurOptions, _Mapping]] = ..., gray_probability: _Optional[float] = ..., scale_area_bias: _Optional[float] = ...) -> None: ...
    class RotationOptions(_message.Message):
        __slots__ = ("max_degrees", "probability")
        MAX_DEGREES_FIELD_NUMBER: _ClassVar[int]
        PROBABILITY_FIELD_NUMBER: _ClassVar[int]
        max_degrees: float
        probability: float
        def __init__(self, max_degrees: _Optional[float] = ..., probability: _Optional[float] = ...) -> None: ...
    class BlurOptions(_message.Message):
        __slots__ = ("probability", "min_sigma", "max_sigma")
        PROBABILITY_FIELD_NUMBER: _ClassVar[int]
        MIN_SIGMA_FIELD_NUMBER: _ClassVar[int]
        MAX_SIGMA_FIELD_NUMBER: _ClassVar[int]
        probability: float
        min_sigma: float
        max_sigma: float
        def __init__(self, probability: _Optional[float] = ..., min_sigma: _Optional[float] = ..., max_sigma: _Optional[float] = ...) -> None: ...
    class CopyPasteOptions(_message.Message):
        __slots__ = ("probability", "max_instances")
        PROBABILITY_FIELD_NUMBER: _ClassVar[int]
        MAX_INSTANCES_FIELD_NUMBER: _ClassVar[int]
        probability: float
        max_instances: int
        def __init__(self, probability: _Optional[float] = ..., max_instances: _Optional[int] = ...) -> None: ...
    class ColorJitterOptions(_message.Message):
        __slots__ = ("brightness", "contrast", "saturation", "hue")
        BRIGHTNESS_FIELD_NUMBER: _ClassVar[int]
        CONTRAST_FIELD_NUMBER: _ClassVar[int]
        SATURATION_FIELD_NUMBER: _ClassVar[int]
        HUE_FIELD_NUMBER: _ClassVar[int]
        brightness: float
        contrast: float
        saturation: float
        hue: float
        def __init__(self, brightness: _Optional[float] = ..., contrast: _Optional[float] = ..., saturation: _Optional[float] = ..., hue: _Optional[float] = ...) -> None: ...
    class PanopticCopyPasteOptions(_message.Message):
        __slots__ = ("panoptic_copy_paste_scale", "panoptic_copy_paste_thing_option", "panoptic_copy_paste_stuff_option", "panoptic_copy_paste_void_option")
        PANOPTIC_COPY_PASTE_SCALE_FIELD_NUMBER: _ClassVar[int]
        PANOPTIC_COPY_PASTE_THING_OPTION_FIELD_NUMBER: _ClassVar[int]
        PANOPTIC_COPY_PASTE_STUFF_OPTION_FIELD_NUMBER: _ClassVar[int]
        PANOPTIC_COPY_PASTE_VOID_OPTION_FIELD_NUMBER: _ClassVar[int]
        panoptic_copy_paste_scale: float
        panoptic_copy_paste_thing_option: str
        panoptic_copy_paste_stuff_option: str
        panoptic_copy_paste_void_option: str
        def __init__(self, panoptic_copy_paste_scale: _Optional[float] = ..., panoptic_copy_paste_thing_option: _Optional[str] = ..., panoptic_copy_paste_stuff_option: _Optional[str] = ..., panoptic_copy_paste_void_option: _Optional[str] = ...) -> None: ...
    DATASET_FIELD_NUMBER: _ClassVar[int]
    FILE_PATTERN_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    CROP_SIZE_FIELD_NUMBER: _ClassVar[int]
    MIN_RESIZE_VALUE_FIELD_NUMBER: _ClassVar[int]
    MAX_RESIZE_VALUE_FIELD_NUMBER: _ClassVar[int]
    RESIZE_FACTOR_FIELD_NUMBER: _ClassVar[int]
    AUGMENTATIONS_FIELD_NUMBER: _ClassVar[int]
    SIGMA_FIELD_NUMBER: _ClassVar[int]
    INCREASE_SMALL_INSTANCE_WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    SMALL_INSTANCE_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    SMALL_INSTANCE_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    USE_TWO_FRAMES_FIELD_NUMBER: _ClassVar[int]
    DECODE_GROUNDTRUTH_LABEL_FIELD_NUMBER: _ClassVar[int]
    THING_ID_MASK_ANNOTATIONS_FIELD_NUMBER: _ClassVar[int]
    MAX_THING_ID_FIELD_NUMBER: _ClassVar[int]
    USE_NEXT_FRAME_FIELD_NUMBER: _ClassVar[int]
    CAMERAS_TO_USE_FIELD_NUMBER: _ClassVar[int]
    INPUT_SCALE_FACTOR_FIELD_NUMBER: _ClassVar[int]
    PAD_TO_MULTIPLE_OF_FIELD_NUMBER: _ClassVar[int]
    PADDING_MODE_FIELD_NUMBER: _ClassVar[int]
    SHUFFLE_BUFFER_SIZE_FIELD_NUMBER: _ClassVar[int]
    ON_DAMAGE_FIELD_NUMBER: _ClassVar[int]
    MIXED_FILE_PATTERN_FIELD_NUMBER: _ClassVar[int]
    MIXED_SHARE_FIELD_NUMBER: _ClassVar[int]
    CANVAS_REMAINDER_FIELD_NUMBER: _ClassVar[int]
    PADDING_COLOR_FIELD_NUMBER: _ClassVar[int]
    DATA_SERVICE_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    dataset: str
    file_pattern: _containers.RepeatedScalarFieldContainer[str]
    batch_size: int
    crop_size: _containers.RepeatedScalarFieldContainer[int]
    min_resize_value: _containers.RepeatedScalarFieldContainer[int]
    max_resize_value: _containers.RepeatedScalarFieldContainer[int]
    resize_factor: int
    augmentations: DatasetOptions.AugmentationOptions
    sigma: float
    increase_small_instance_weights: bool
    small_instance_threshold: int
    small_instance_weight: float
    use_two_frames: bool
    decode_groundtruth_label: bool
    thing_id_mask_annotations: bool
    max_thing_id: int
    use_next_frame: bool
    cameras_to_use: _containers.RepeatedScalarFieldContainer[str]
    input_scale_factor: float
    pad_to_multiple_of: int
    padding_mode: PaddingMode
    shuffle_buffer_size: int
    on_damage: OnDamage
    mixed_file_pattern: _containers.RepeatedScalarFieldContainer[str]
    mixed_share: float
    canvas_remainder: int
    padding_color: _containers.RepeatedScalarFieldContainer[float]
    data_service_address: str
    def __init__(self, dataset: _Optional[str] = ..., file_pattern: _Optional[_Iterable[str]] = ..., batch_size: _Optional[int] = ..., crop_size: _Optional[_Iterable[int]] = ..., min_resize_value: _Optional[_Iterable[int]] = ..., max_resize_value: _Optional[_Iterable[int]] = ..., resize_factor: _Optional[int] = ..., augmentations: _Optional[_Union[DatasetOptions.AugmentationOptions, _Mapping]] = ..., sigma: _Optional[float] = ..., increase_small_instance_weights: bool = ..., small_instance_threshold: _Optional[int] = ..., small_instance_weight: _Optional[float] = ..., use_two_frames: bool = ..., decode_groundtruth_label: bool = ..., thing_id_mask_annotations: bool = ..., max_thing_id: _Optional[int] = ..., use_next_frame: bool = ..., cameras_to_use: _Optional[_Iterable[str]] = ..., input_scale_factor: _Optional[float] = ..., pad_to_multiple_of: _Optional[int] = ..., padding_mode: _Optional[_Union[PaddingMode, str]] = ..., shuffle_buffer_size: _Optional[int] = ..., on_damage: _Optional[_Union[OnDamage, str]] = ..., mixed_file_pattern: _Optional[_Iterable[str]] = ..., mixed_share: _Optional[float] = ..., canvas_remainder: _Optional[int] = ..., padding_color: _Optional[_Iterable[float]] = ..., data_service_address: _Optional[str] = ...) -> None: ...
