"""What the Audio field is made of: reading files, log-mel pictures, and augmentation of whole batches."""

from flambeau.fields.sound.augment import SoundAugmentation
from flambeau.fields.sound.files import SUFFIXES, SoundInfo, decode, looks_like_sound, sound_info
from flambeau.fields.sound.mel import LogMel

__all__ = ["SUFFIXES", "LogMel", "SoundAugmentation", "SoundInfo", "decode", "looks_like_sound", "sound_info"]
